# The two Node modules, both Node-API only:
#   winnow.node  engine + conversion; llama.cpp symbols stay undefined
#   loader.node  opens the chosen llama.cpp libraries into the global scope, so that winnow.node finds them
# `-z now` makes a missing symbol an exception at load; with lazy binding the first call would end the process.
set(WINNOW_NODE_API_VERSION 8)
file(GLOB WINNOW_ADDON_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cc)
list(REMOVE_ITEM WINNOW_ADDON_SOURCES ${CMAKE_CURRENT_LIST_DIR}/loader.cc)

add_library(winnow MODULE ${WINNOW_ADDON_SOURCES} ${CMAKE_JS_SRC})
target_link_libraries(winnow PRIVATE winnow_engine)
add_library(loader MODULE ${CMAKE_CURRENT_LIST_DIR}/loader.cc ${CMAKE_JS_SRC})
target_link_libraries(loader PRIVATE ${CMAKE_DL_LIBS})

# The addon's version is the package's: a stale build is told apart at load.
file(READ ${CMAKE_CURRENT_SOURCE_DIR}/../package.json WINNOW_PACKAGE_JSON)
string(JSON WINNOW_VERSION GET "${WINNOW_PACKAGE_JSON}" version)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/../package.json)

foreach(module winnow loader)
  set_target_properties(${module} PROPERTIES PREFIX "" SUFFIX ".node" CXX_VISIBILITY_PRESET hidden
                                             VISIBILITY_INLINES_HIDDEN ON)
  target_include_directories(${module} SYSTEM PRIVATE ${CMAKE_JS_INC})
  # Without SWALLOW a worker thread that ends inside one of our callbacks ends the whole process.
  target_compile_definitions(${module} PRIVATE NAPI_VERSION=${WINNOW_NODE_API_VERSION} NODE_ADDON_API_CPP_EXCEPTIONS
                                               NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
                                               BUILDING_NODE_EXTENSION
                                               WINNOW_VERSION="${WINNOW_VERSION}"
                                               WINNOW_LLAMA_VERSION="${WINNOW_LLAMA_VERSION}")
  if(MSVC)
    target_compile_options(${module} PRIVATE /W4 /EHsc)
  else()
    target_compile_options(${module} PRIVATE -Wall -Wextra -Wpedantic -Wshadow
                                              $<$<BOOL:${WINNOW_WERROR}>:-Werror>)
  endif()
  if(APPLE)
    target_link_options(${module} PRIVATE -undefined dynamic_lookup)
  elseif(UNIX)
    target_link_options(${module} PRIVATE -Wl,-z,now)
  endif()
  target_link_libraries(${module} PRIVATE ${CMAKE_JS_LIB})
endforeach()
# The engine ends up in winnow.node alone; hidden, so that two copies of the package in one process stay apart.
set_target_properties(winnow_engine PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)

if(WIN32)
  # Untested. A DLL's symbols cannot stay undefined, so there is one winnow.node for each variant:
  # -DWINNOW_LLAMA_IMPORT_LIBS names the import libraries of that variant, and of Node through the .def of node-api-headers.
  if(NOT WINNOW_LLAMA_IMPORT_LIBS)
    message(FATAL_ERROR "Expected WINNOW_LLAMA_IMPORT_LIBS (import libraries of llama, ggml and ggml-base) on Windows but received none")
  endif()
  target_link_libraries(winnow PRIVATE ${WINNOW_LLAMA_IMPORT_LIBS})
  if(MSVC AND CMAKE_JS_NODELIB_DEF AND CMAKE_JS_NODELIB_TARGET)
    execute_process(COMMAND ${CMAKE_AR} /def:${CMAKE_JS_NODELIB_DEF} /out:${CMAKE_JS_NODELIB_TARGET} ${CMAKE_STATIC_LINKER_FLAGS})
  endif()
endif()
