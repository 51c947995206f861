# The lease protocol: its table of atomics, two processes, a stress program, a model
sw_test(lease SOURCES test_lease.c LIBRARIES sw-core)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME lease-table COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/lease_table.py
  ${PROJECT_SOURCE_DIR}/libsw/core/lease.h ${PROJECT_SOURCE_DIR}/libsw/core/lease.c)
add_executable(lease-stress lease_stress.c)
target_link_libraries(lease-stress PRIVATE sw-core sw-flags Threads::Threads)
add_test(NAME lease-stress COMMAND lease-stress)
set_tests_properties(lease-table lease-stress PROPERTIES TIMEOUT 120)

# The model, checked by spin
add_test(NAME lease-model COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/lease_model.sh)
set_tests_properties(lease-model PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
