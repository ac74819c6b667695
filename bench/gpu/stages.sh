# The stages that measure, for `run`. Each says its cases; measuring.sh runs them.
# shellcheck shell=bash disable=SC2034,SC2154

stage_machine() {
  local sizes=()
  [ "$size" = tiny ] && sizes=(--bytes 16777216 --size 256)
  bench peaks machine "${sizes[@]}"
}

# The rates floors are computed with, as the stage machine found them.
peaks() {
  local row=$work/rows/$mode/machine/peaks.jsonl
  [ -f "$row" ] || return 0
  sed -n 's/.*"bandwidth":\([0-9.e+]*\),"flops":\([0-9.e+]*\).*/--bandwidth \1 --flops \2/p' "$row"
}

stage_models() {
  local shape
  mkdir -p "$work/models"
  for shape in $shapes; do
    [ -f "$work/models/$shape.gguf" ] || rm -f "$work/rows/$mode/models/$shape.jsonl"
    measure "$shape" "$work/bench/gpu_models" --libs "$(cat "$work/libs")" --shape "$shape" --out "$work/models/$shape.gguf"
  done
}

stage_check() { bench "$check_shape" check --model "$work/models/$check_shape.gguf" --n "$check_n" --length 32; }

stage_throughput() {
  local shape n prompt repeats
  for shape in $bench_shapes; do
    for n in $widths; do
      for prompt in $prompts; do
        repeats=1
        [ "$n" = "$width" ] && repeats=2
        bench "$shape-n$n-p$prompt" throughput --model "$work/models/$shape.gguf" --n "$n" --prompt "$prompt" \
          --length "$length" --repeats "$repeats" $(peaks)
      done
    done
  done
}

stage_scoring() {
  bench "$main_shape" scoring --model "$work/models/$main_shape.gguf" --reward "$work/models/$reward_shape.gguf" \
    --n "$width" --prompt "$short" --length $((length / 2)) --every "$every"
}

stage_ladder() {
  local shape how
  for shape in $bench_shapes; do
    # With one cell for the step that is compared, the streams are full.
    for how in engine pinned pageable replay; do
      bench "$shape-$how" ladder --model "$work/models/$shape.gguf" --n "$width" --prompt "$short" \
        --length $((length / 2 - short - 1)) --how "$how"
    done
  done
}

stage_leader() {
  local shape
  for shape in $leader_shapes; do
    bench "$shape" leader --model "$work/models/$shape.gguf" --n "$width" --prompt "$short" --length "$steps" --checks 4
  done
}

# Node itself and the addon are only made here, so that whatever ails them costs this stage alone.
stage_node() {
  local node=node gpu=cpu shape policy
  [ "$device" = gpu ] && gpu=cuda
  if [ -n "$packed" ]; then
    node=$work/node
    prepare_node || return
  fi
  measure embedded "$node" "$root/bench/gpu/end_to_end.mjs" --model embedded --n 64 --length 256 --gpu "$gpu" --threads "$threads"
  for shape in $bench_shapes; do
    for policy in best-of-n spec-reject; do
      measure "$shape-$policy" "$node" "$root/bench/gpu/end_to_end.mjs" --model "$work/models/$shape.gguf" --n "$width" \
        --length "$every_length" --gpu "$gpu" --policy "$policy" --threads "$threads"
    done
  done
}
