# What an outside program needs to use an installed sumi: header, libraries, a pkg-config file and
# a CMake package. The program, its manual page and completion are installed by src/cli.
include(CMakePackageConfigHelpers)

set(SUMI_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/sumi)
# The installed tree can be moved: the .pc file finds the prefix from its own place.
file(RELATIVE_PATH SUMI_PC_TO_PREFIX
  /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${PROJECT_SOURCE_DIR}/cmake/sumi.pc.in ${PROJECT_BINARY_DIR}/sumi.pc @ONLY)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/sumi-config.cmake.in
  ${PROJECT_BINARY_DIR}/sumi-config.cmake INSTALL_DESTINATION ${SUMI_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/sumi-config-version.cmake
  COMPATIBILITY SameMinorVersion)

set_target_properties(sumi_shared PROPERTIES EXPORT_NAME sumi)
install(TARGETS sumi_shared sumi_static EXPORT sumi-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${PROJECT_SOURCE_DIR}/include/sumi.h ${PROJECT_SOURCE_DIR}/include/sumi_device.h
  ${PROJECT_SOURCE_DIR}/include/sumi_eval.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT sumi-targets NAMESPACE sumi:: DESTINATION ${SUMI_PACKAGE_DIR})
install(FILES ${PROJECT_BINARY_DIR}/sumi-config.cmake
  ${PROJECT_BINARY_DIR}/sumi-config-version.cmake DESTINATION ${SUMI_PACKAGE_DIR})
install(FILES ${PROJECT_BINARY_DIR}/sumi.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
