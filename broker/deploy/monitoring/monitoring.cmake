# SPDX-License-Identifier: MIT
# What watches the broker: the unit of swctl export, alert rules for Prometheus, a dashboard for Grafana.
install(FILES ${CMAKE_CURRENT_LIST_DIR}/swbroker.rules.yml ${CMAKE_CURRENT_LIST_DIR}/swbroker-dashboard.json
  DESTINATION ${CMAKE_INSTALL_DATADIR}/swbroker COMPONENT broker)
if(TARGET PkgConfig::MICROHTTPD)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/../systemd/swbroker-export.service.in
    ${CMAKE_CURRENT_BINARY_DIR}/systemd/swbroker-export.service @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/systemd/swbroker-export.service DESTINATION lib/systemd/system
    COMPONENT broker)
endif()
