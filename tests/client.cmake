# libsw/client: the component cache by itself, the library against a scripted peer
sw_test(component-cache SOURCES test_component_cache.c LIBRARIES sw-client)
sw_test(client
  SOURCES client_open.c client_lease.c client_session.c client_component.c client_fixture.c client_peer.c
  LIBRARIES sw-client sw-test-support)
# so that a test can pull the bytes away while the library parses them
target_link_options(test-client PRIVATE -Wl,--wrap=swi_view_parse)
# a plain program, so that it runs under ThreadSanitizer too
add_executable(client-stress client_stress.c client_peer.c)
target_link_libraries(client-stress PRIVATE sw-client sw-flags)
add_test(NAME client-stress COMMAND client-stress 3)
set_tests_properties(client-stress PROPERTIES TIMEOUT 60)
# the worker that the README shows
add_executable(example-worker example_worker.c)
target_link_libraries(example-worker PRIVATE sw sw-flags)
# an engine of one's own: tensors without BERT
add_executable(example-tensors example_tensors.c)
target_link_libraries(example-tensors PRIVATE sw sw-flags)
# with real brokers
sw_test(client-broker SOURCES test_client_broker.c LIBRARIES sw sw-test-support)
add_dependencies(test-client-broker swbrokerd swctl swchunk example-worker example-tensors)
# private brokers
sw_test(client-autostart SOURCES client_autostart.c LIBRARIES sw sw-test-support TIMEOUT 280)
add_dependencies(test-client-autostart swbrokerd swctl swchunk)

# the interface as others see it
add_test(NAME interface COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/interface.py
  ${PROJECT_SOURCE_DIR} ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER})
set_tests_properties(interface PROPERTIES TIMEOUT 120)
add_test(NAME abi COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/abi.py
  ${PROJECT_SOURCE_DIR} ${CMAKE_C_COMPILER})
add_test(NAME abi-rules COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/abi_rules.py
  ${PROJECT_SOURCE_DIR} ${CMAKE_C_COMPILER})
set_tests_properties(abi abi-rules PROPERTIES TIMEOUT 240 SKIP_RETURN_CODE 77)
# the manual's programs, with real brokers
if(SW_SANITIZE)
  set(sanitized -fsanitize=${SW_SANITIZE})
endif()
add_test(NAME examples COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/examples.py
  ${PROJECT_SOURCE_DIR} ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER} ${sanitized})
set_tests_properties(examples PROPERTIES TIMEOUT 180)
# programs outside would need the sanitizers' run time too
if(NOT SW_SANITIZE AND NOT SW_BLIS_SHARED)
  add_test(NAME package COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/package.sh
    ${CMAKE_BINARY_DIR} ${PROJECT_SOURCE_DIR} ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER} ${PROJECT_VERSION})
  set_tests_properties(package PROPERTIES TIMEOUT 180)
endif()
if(SW_BENCH)
  sw_test(bench SOURCES test_bench.c LIBRARIES sw-test-support)
  add_dependencies(test-bench swbench swbrokerd swchunk)
endif()
