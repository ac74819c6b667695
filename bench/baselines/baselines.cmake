# decode_loop and advance_loop: the same work with and without Winnow, both without Node.
include(${CMAKE_CURRENT_SOURCE_DIR}/llama_libs.cmake)
foreach(baseline decode_loop advance_loop)
  add_executable(${baseline} ${CMAKE_CURRENT_LIST_DIR}/${baseline}.cc ${CMAKE_CURRENT_LIST_DIR}/workload.cc)
  target_compile_options(${baseline} PRIVATE -Wall -Wextra $<$<BOOL:${WINNOW_WERROR}>:-Werror>)
  target_link_libraries(${baseline} PRIVATE winnow_engine ${WINNOW_LIBLLAMA} ${WINNOW_LIBGGML})
  set_target_properties(${baseline} PROPERTIES BUILD_RPATH "${WINNOW_LLAMA_LIBS}" RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
endforeach()
