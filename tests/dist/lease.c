/*
 * lease FILE: takes a lease on the file, so that whoever opens it waits; says so, says when one
 * waits, and keeps the lease until this process is ended. 77: the file system has no leases.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const struct timespec pause = {0, 5000000};
    int fd = argc == 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
    signal(SIGIO, SIG_IGN); /* says that somebody waits */
    if (fd < 0 || fcntl(fd, F_SETLEASE, F_WRLCK) != 0)
        return 77;
    printf("taken\n");
    fflush(stdout);
    while (fcntl(fd, F_GETLEASE) == F_WRLCK)
        nanosleep(&pause, NULL);
    printf("wanted\n");
    fflush(stdout);
    for (;;)
        sleep(1000);
}
