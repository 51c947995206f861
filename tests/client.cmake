# libsw/client: the component cache by itself, the library against a scripted peer
sw_test(component-cache SOURCES test_component_cache.c LIBRARIES sw-client)
sw_test(client SOURCES test_client.c client_peer.c LIBRARIES sw-client sw-test-support)
# with real brokers
sw_test(client-broker SOURCES test_client_broker.c LIBRARIES sw sw-test-support)
add_dependencies(test-client-broker swbrokerd swctl swchunk)
