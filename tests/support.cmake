# What tests with real processes share: link sw-test-support and include "support/support.h"
add_library(sw-test-support STATIC support/broker.c support/files.c support/keep.c support/managed.c
  support/process.c
  support/raw.c)
target_link_libraries(sw-test-support
  PUBLIC PkgConfig::JANSSON sw-core PRIVATE sw-flags PkgConfig::CRITERION)
target_include_directories(sw-test-support PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_definitions(sw-test-support PRIVATE SW_BUILD_DIR="${CMAKE_BINARY_DIR}")
sw_test(support SOURCES test_support.c LIBRARIES sw-test-support)
# a service manager around swbrokerd: what systemd is to it, on machines that were not booted with it
add_executable(sw-manager support/manager_main.c)
target_link_libraries(sw-manager PRIVATE sw-manager-lib sw-flags)
add_dependencies(sw-test-support sw-manager)
