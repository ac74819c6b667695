# Unpacking and building, for `run`.
# shellcheck shell=bash disable=SC2034,SC2154

decompress() {
  if command -v xz >/dev/null; then
    xz -dc "$1"
  else
    python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$1"
  fi
}

# ARCHIVE FOLDER: its one top folder becomes FOLDER, unless that is what it is already. Files get the time of now, or
# the build would not see that they changed.
unpack() {
  local sum
  sum=$(sha256sum <"$1")
  [ -d "$2" ] && [ "$(cat "$2.sum" 2>/dev/null)" = "$sum" ] && return 0
  rm -rf "$2.part" && mkdir -p "$2.part" && decompress "$1" | tar -x -m -C "$2.part" --strip-components=1 &&
    rm -rf "$2" && mv "$2.part" "$2" && echo "$sum" >"$2.sum"
}

# What another pack measured is no part of this one's results.
forget_other_pack() {
  [ -f "$work/SHA256SUMS" ] && ! cmp -s "$packed/SHA256SUMS" "$work/SHA256SUMS" || return 0
  rm -rf "$work/rows" "$work/SHA256SUMS"
  for name in $all_stages; do rm -f "$out/$name.json"; done
}

# Of the compiler and libraries that CUDA brought; where its installer told nobody, the usual places.
find_cuda() {
  local folder
  for folder in "${CUDA_PATH:-}" "$(dirname "$(dirname "$(command -v nvcc || true)")")" /usr/local/cuda /usr/local/cuda-13*; do
    [ -x "$folder/bin/nvcc" ] || continue
    export PATH="$folder/bin:$PATH" CUDACXX="$folder/bin/nvcc" CUDA_PATH="$folder"
    for place in "$folder/lib64" "$folder/targets/x86_64-linux/lib" "$folder/lib"; do
      [ -d "$place" ] && export LD_LIBRARY_PATH="$place${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    done
    return 0
  done
  return 1
}

generator() { command -v ninja >/dev/null && echo "-GNinja" || echo "-GUnix Makefiles"; }

# As node-llama-cpp builds it (exceptions through C, no versions in names, backends opened at run time), for one kind of
# GPU and with the fewest kernels: flash attention for f16 cells alone. Nothing but the libraries.
configure_llama() { # SOURCE BUILD
  local cuda=()
  [ "$device" = gpu ] && cuda=(-DGGML_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=${WINNOW_CUDA_ARCHITECTURES:-90-real}"
    -DGGML_CUDA_FA_QUANTS=f16-f16 -DGGML_CUDA_NCCL=OFF -DGGML_CUDA_COMPRESSION_MODE=none)
  prepare cmake "$(generator)" -S "$1" -B "$2" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_BACKEND_DL=ON \
    -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DGGML_CCACHE=OFF -DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON \
    -DCMAKE_C_FLAGS=-fexceptions -DCMAKE_CXX_FLAGS=-fexceptions -DCMAKE_BUILD_RPATH_USE_ORIGIN=ON \
    -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF "${cuda[@]}"
}

# Where npm put the libraries, in a checkout.
installed_libs() { node --input-type=module -e "
  import { installedVariants } from '$root/dist/libraries.js'
  process.stdout.write(installedVariants().find(({ variant }) => variant === 'cpu').folder)"; }

# The addon's engine, where none of its sources is newer.
built_engine() {
  local archive=$root/build/addon/libwinnow_engine.a
  [ -f "$archive" ] && [ -z "$(find "$root/native/engine" -name '*.[ch]*' -newer "$archive" | head -n 1)" ] && echo "$archive"
}

stage_setup() {
  local headers from rows=$work/rows/$mode/setup
  mkdir -p "$rows"
  rm -f "$rows"/*
  if [ -n "$packed" ]; then
    (cd "$packed" && prepare sha256sum --check --quiet SHA256SUMS) || { fail "the pack's files are not what they were"; return; }
    unpack "$packed/winnow.tar.xz" "$root" && unpack "$packed/llama.tar.xz" "$work/llama.cpp" ||
      { fail "the pack cannot be unpacked"; return; }
    cp "$packed/llama-release" "$work/release"
    headers=$work/llama.cpp
  else
    headers=$(node "$root/native/setup/headers.mjs") || { fail "llama.cpp's headers cannot be had"; return; }
    basename "$headers" >"$work/release"
  fi
  if [ -n "$libs" ]; then
    from=given
  elif [ -f "$packed/libs.tar.xz" ]; then
    from=pack
    libs=$work/packed-libs
    unpack "$packed/libs.tar.xz" "$libs" || { fail "the pack cannot be unpacked"; return; }
  elif [ -z "$packed" ]; then
    from=npm
    libs=$(installed_libs) || { fail "the libraries that npm installs are not here"; return; }
  else
    from=source
    libs=$work/llama-build/bin
    if [ "$device" = gpu ] && ! find_cuda; then fail "nvcc is not on the PATH, in CUDA_PATH or under /usr/local"; return; fi
    configure_llama "$work/llama.cpp" "$work/llama-build" || { fail "llama.cpp cannot be configured: $(blame "$work/logs/$stage.log")"; return; }
    [ -z "$configure" ] || { say "llama.cpp is configured"; exit 0; }
    prepare cmake --build "$work/llama-build" --parallel "$parallel" || { fail "llama.cpp: $(built $?)"; return; }
  fi
  echo "$libs" >"$work/libs"
  local archive="" addon=()
  [ -n "$packed" ] || archive=${engine:-$(built_engine)}
  # node-api-headers and node-addon-api stand in for cmake-js, which wants Node.
  [ -n "$packed" ] && addon=("-DCMAKE_JS_INC=$root/node_modules/node-api-headers/include;$root/node_modules/node-addon-api")
  prepare cmake "$(generator)" -S "$root/bench/gpu" -B "$work/bench" -DCMAKE_BUILD_TYPE=Release \
    "-DWINNOW_LLAMA_HEADERS=$headers" "-DWINNOW_LLAMA_LIBS=$libs" "-DWINNOW_LLAMA_VERSION=$(cat "$work/release")" \
    "-DWINNOW_ENGINE_ARCHIVE=$archive" "${addon[@]}" || { fail "the programs cannot be configured: $(blame "$work/logs/$stage.log")"; return; }
  local programs=()
  for program in machine models check throughput scoring ladder leader; do programs+=("gpu_$program"); done
  prepare cmake --build "$work/bench" --parallel "$parallel" --target "${programs[@]}" || { fail "the programs: $(built $?)"; return; }
  printf '{"libraries":"%s","engine":"%s","seconds":%d}\n' "$from" "$([ -n "$archive" ] && echo archive || echo source)" \
    $((SECONDS - stage_started)) >"$rows/build.jsonl"
  [ -z "$packed" ] || cp "$packed/SHA256SUMS" "$work/SHA256SUMS"
}

# Why a build of the stage ended with this code.
built() {
  if [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; then
    echo "out of time, call again to go on"
  else
    echo "the build failed: $(blame "$work/logs/$stage.log")"
  fi
}

# Of a pack: Node, the addon where binding.ts looks for it, and the libraries where npm would have put them.
prepare_node() {
  local name place log=$work/logs/$stage.log
  [ -x "$work/node" ] ||
    { decompress "$packed/node.xz" >"$work/node.part" && chmod +x "$work/node.part" && mv "$work/node.part" "$work/node"; } ||
    { fail "Node cannot be unpacked"; return 1; }
  prepare cmake --build "$work/bench" --parallel "$parallel" --target winnow loader || { fail "the addon: $(built $?)"; return 1; }
  mkdir -p "$root/build/addon/Release"
  for name in winnow loader; do cp "$(find "$work/bench" -name "$name.node" | head -n 1)" "$root/build/addon/Release/"; done
  name=linux-x64
  [ "$device" = gpu ] && name=linux-x64-cuda
  place=$root/node_modules/@node-llama-cpp/$name/bins/$name
  # Hard links where they can be: the loader takes a library for what its path says.
  mkdir -p "$place"
  cp -lf "$(cat "$work/libs")"/*.so "$place" 2>>"$log" || cp -f "$(cat "$work/libs")"/*.so "$place" 2>>"$log" ||
    { fail "the libraries cannot be put in place"; return 1; }
  printf '{"buildOptions":{"llamaCpp":{"release":"%s"}}}\n' "$(cat "$work/release")" >"$place/_nlcBuildMetadata.json"
}
