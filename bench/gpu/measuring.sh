# Running things within a stage's time, for `run`: what is measured, and what is prepared for it.
# shellcheck shell=bash disable=SC2034,SC2154

# Seconds that the stage at work still has.
left() {
  local of_stage=$((limit - (SECONDS - stage_started))) of_call=$((budget - (SECONDS - started)))
  [ "$of_stage" -lt "$of_call" ] && echo "$of_stage" || echo "$of_call"
}

limited() {
  local seconds
  seconds=$(left)
  if [ "$seconds" -lt 1 ]; then
    say "No time is left"
    return 124
  fi
  timeout --kill-after=10 "$seconds" "$@"
}

# A command of the stage's preparation; its output goes to the stage's log.
prepare() {
  say "+ $*" 2>>"$work/logs/$stage.log"
  limited "$@" >>"$work/logs/$stage.log" 2>&1
}

# measure CASE PROGRAM ARGUMENTS...: the rows it prints are the case's. One that fails is noted and the next goes on.
measure() {
  local case=$1 rows=$work/rows/$mode/$stage code
  shift
  mkdir -p "$rows"
  [ -f "$rows/$case.jsonl" ] && return 0
  say "  $case"
  limited "$@" >"$rows/$case.part" 2>"$rows/$case.err"
  code=$?
  cat "$rows/$case.err" >>"$work/logs/$stage.log"
  if [ "$code" -eq 0 ]; then
    mv "$rows/$case.part" "$rows/$case.jsonl"
    rm -f "$rows/$case.failed" "$rows/$case.err"
  else
    mv "$rows/$case.part" "$rows/$case.failed"
    fail "$case: $(reason_of "$code" "$rows/$case.err")"
  fi
}

fail() { failures+=("$*"); }

# What a log says of a failure: the first line that speaks of an error, otherwise the last.
blame() { { grep -m 1 -iE '(error|fatal)[ :]' "$1" || grep -v '^$' "$1" | tail -n 1; } 2>/dev/null | cut -c 1-300; }

reason_of() {
  if [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; then
    echo "out of time"
  else
    echo "code $1, $(blame "$2")"
  fi
}

# bench CASE PROGRAM ARGUMENTS...: measures one of the C++ programs on the device.
bench() {
  local case=$1 program=$2
  shift 2
  measure "$case" "$work/bench/gpu_$program" --libs "$(cat "$work/libs")" --device "$device" --threads "$threads" "$@"
}
