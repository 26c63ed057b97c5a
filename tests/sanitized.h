/*
 * SANITIZED: 1 where a test is compiled with the address, thread or memory sanitizer, else 0. They
 * have much memory and some calls of their own, and take several times as long.
 */
#ifndef SUMI_TEST_SANITIZED_H
#define SUMI_TEST_SANITIZED_H

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
