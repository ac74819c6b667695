# Target engine_test (and, with WINNOW_FUZZ, head_fuzz).
include(${CMAKE_CURRENT_SOURCE_DIR}/llama_libs.cmake)

# The engine with its integrity checks on after every operation; the other one is then built only for whoever
# links it.
set_target_properties(winnow_engine PROPERTIES EXCLUDE_FROM_ALL ON)
add_library(winnow_engine_checked STATIC ${WINNOW_ENGINE_SOURCES})
get_target_property(WINNOW_ENGINE_OPTIONS winnow_engine COMPILE_OPTIONS)
get_target_property(WINNOW_ENGINE_DEFINITIONS winnow_engine COMPILE_DEFINITIONS)
target_compile_options(winnow_engine_checked PRIVATE ${WINNOW_ENGINE_OPTIONS})
target_compile_definitions(winnow_engine_checked PRIVATE ${WINNOW_ENGINE_DEFINITIONS} WINNOW_CHECKS)
target_include_directories(winnow_engine_checked PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/engine)
target_include_directories(winnow_engine_checked SYSTEM PUBLIC ${WINNOW_LLAMA_HEADERS}/include ${WINNOW_LLAMA_HEADERS}/ggml/include)
target_link_libraries(winnow_engine_checked PUBLIC Threads::Threads ${CMAKE_DL_LIBS} ${WINNOW_LIBLLAMA} ${WINNOW_LIBGGML})
if(WINNOW_SANITIZE)
  target_link_options(winnow_engine_checked PUBLIC -fsanitize=${WINNOW_SANITIZE_FLAG})
endif()

if(WINNOW_TESTS)
  find_package(GTest REQUIRED)
  file(GLOB WINNOW_TEST_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_test.cc)
  add_executable(engine_test ${WINNOW_TEST_SOURCES} ${CMAKE_CURRENT_LIST_DIR}/fixture.cc ${CMAKE_CURRENT_LIST_DIR}/fault.cc)
  target_compile_definitions(engine_test PRIVATE WINNOW_LLAMA_LIBS="${WINNOW_LLAMA_LIBS}")
  target_compile_options(engine_test PRIVATE -Wall -Wextra $<$<BOOL:${WINNOW_WERROR}>:-Werror>
                                             # GCC bug 105651, as in the engine
                                             $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
  target_link_libraries(engine_test PRIVATE winnow_engine_checked GTest::gtest)
  if(WINNOW_SANITIZE)
    target_compile_options(engine_test PRIVATE -fsanitize=${WINNOW_SANITIZE_FLAG} -fno-omit-frame-pointer -g)
  endif()
  set_target_properties(engine_test PROPERTIES BUILD_RPATH "${WINNOW_LLAMA_LIBS}")
  add_test(NAME engine_test COMMAND engine_test)
endif()

if(WINNOW_FUZZ)
  add_executable(head_fuzz ${CMAKE_CURRENT_LIST_DIR}/head_fuzz.cc)
  target_compile_options(winnow_engine_checked PRIVATE -fsanitize=fuzzer-no-link,address,undefined)
  target_compile_options(head_fuzz PRIVATE -fsanitize=fuzzer,address,undefined -g)
  target_link_options(head_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_libraries(head_fuzz PRIVATE winnow_engine_checked)
  set_target_properties(head_fuzz PROPERTIES BUILD_RPATH "${WINNOW_LLAMA_LIBS}")
endif()
