# SPDX-License-Identifier: MIT
# Monitoring: the unit of sw-exporter, alert rules for Prometheus, a dashboard for Grafana.
install(FILES ${CMAKE_CURRENT_LIST_DIR}/swbroker.rules.yml ${CMAKE_CURRENT_LIST_DIR}/swbroker-dashboard.json
  DESTINATION ${CMAKE_INSTALL_DATADIR}/swbroker COMPONENT broker)
if(TARGET sw-exporter)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/../systemd/sw-exporter.service.in
    ${CMAKE_CURRENT_BINARY_DIR}/systemd/sw-exporter.service @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/systemd/sw-exporter.service DESTINATION lib/systemd/system
    COMPONENT broker)
endif()
