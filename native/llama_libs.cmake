# WINNOW_LIBLLAMA and WINNOW_LIBGGML: what programs without Node link against. The libraries' names carry the
# release and the variant (libllama.v0.5.0.so, libllama.cuda.v0.5.0.so), so they are found by pattern.
include_guard()
file(GLOB WINNOW_LIBLLAMA ${WINNOW_LLAMA_LIBS}/libllama.*)
file(GLOB WINNOW_LIBGGML ${WINNOW_LLAMA_LIBS}/libggml.* ${WINNOW_LLAMA_LIBS}/libggml-base.*)
list(FILTER WINNOW_LIBLLAMA INCLUDE REGEX "\\.(so|dylib|lib)$")
list(FILTER WINNOW_LIBGGML INCLUDE REGEX "\\.(so|dylib|lib)$")
if(NOT WINNOW_LIBLLAMA OR NOT WINNOW_LIBGGML)
  message(FATAL_ERROR "Expected libllama and libggml in WINNOW_LLAMA_LIBS but found none in '${WINNOW_LLAMA_LIBS}'")
endif()
