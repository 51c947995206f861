# The lease protocol's model, checked by spin
add_test(NAME lease-model COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/lease_model.sh)
set_tests_properties(lease-model PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
