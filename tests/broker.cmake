# swbrokerd and swctl as processes, and the loop on its own
sw_test(broker-life SOURCES test_broker_life.c LIBRARIES sw-test-support)
sw_test(broker-service SOURCES test_broker_service.c LIBRARIES sw-test-support)
sw_test(broker-wire SOURCES test_broker_wire.c LIBRARIES sw-test-support)
sw_test(broker-limits SOURCES test_broker_limits.c LIBRARIES sw-test-support)
sw_test(broker-files SOURCES test_broker_files.c LIBRARIES sw-test-support)
if(TARGET PkgConfig::SYSTEMD)
  foreach(part restart restart_trust restart_start)
    string(REPLACE _ - name broker-${part})
    sw_test(${name} SOURCES test_broker_${part}.c restart_scene.c LIBRARIES sw-test-support TIMEOUT 600)
  endforeach()
  # the daemon as it is where libsystemd is not
  add_executable(sw-brokerd-plain ${PROJECT_SOURCE_DIR}/broker/daemon/main.c
    ${PROJECT_SOURCE_DIR}/broker/handover/sd_notify_none.c)
  target_link_libraries(sw-brokerd-plain PRIVATE sw-broker)
  add_dependencies(test-broker-restart-start sw-brokerd-plain)
endif()
sw_test(permissions SOURCES test_permissions.c LIBRARIES sw-test-support)
sw_test(log SOURCES test_log.c LIBRARIES sw-test-support)
sw_test(metrics SOURCES test_metrics.c LIBRARIES sw-metrics sw-test-support)
add_test(NAME monitoring COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/monitoring.sh ${PROJECT_SOURCE_DIR}
  ${CMAKE_BINARY_DIR})
set_tests_properties(monitoring PROPERTIES TIMEOUT 120 SKIP_RETURN_CODE 77)
sw_test(settings SOURCES test_settings.c LIBRARIES sw-test-support)
sw_test(swctl SOURCES test_swctl.c LIBRARIES sw-test-support)
sw_test(swctl-watch SOURCES test_swctl_watch.c LIBRARIES sw-ctl sw-test-support TIMEOUT 180)
sw_test(swctl-logind SOURCES test_swctl_logind.c LIBRARIES sw-ctl sw-test-support)
sw_test(swctl-peers SOURCES test_swctl_peers.c LIBRARIES sw-test-support)
sw_test(loop SOURCES test_loop.c LIBRARIES sw-broker sw-test-support)
foreach(program swbrokerd swctl swchunk)
  add_dependencies(sw-test-support ${program})
endforeach()
# the units, by systemd's own checks
add_test(NAME systemd COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/systemd.sh
  ${CMAKE_BINARY_DIR} ${PROJECT_SOURCE_DIR})
set_tests_properties(systemd PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77)
# what they call of the kernel; a sanitizer's run time calls more, and is traced by none
if(TARGET PkgConfig::SYSTEMD AND NOT SW_SANITIZE)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  add_test(NAME systemd-calls COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/systemd_calls.py
    ${PROJECT_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  set_tests_properties(systemd-calls PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77)
endif()
