# What a stage leaves, for `run`: a JSON file, and its place in the report.
# shellcheck shell=bash disable=SC2034,SC2154

json_text() { printf '%s' "$1" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g'; }

# The rows of the stage, done and failed cases alike, each with the name of its case.
rows_of() {
  local file case
  for file in "$work/rows/$mode/$1"/*.jsonl "$work/rows/$mode/$1"/*.failed; do
    [ -s "$file" ] || continue
    case=$(basename "${file%.*}")
    grep '^{.*}$' "$file" | sed "s/^{/{\"case\":\"$case\",/"
  done
}

write_result() { # STAGE STATUS SECONDS REASON
  local release=""
  [ -f "$work/release" ] && release=$(cat "$work/release")
  {
    printf '{"schemaVersion":1,"stage":"%s","mode":"%s","status":"%s","seconds":%s,"reason":"%s",' \
      "$1" "$mode" "$2" "$3" "$(json_text "$4")"
    printf '"command":"%s","machine":"%s","versions":{"winnow":"%s","llama":"%s"},"rows":[' \
      "$(json_text "$command_line")" "$(json_text "$(machine_name)")" "$(winnow_version)" "$release"
    rows_of "$1" | paste -sd ',' -
    printf ']}\n'
  } >"$out/$1.json.part"
  mv "$out/$1.json.part" "$out/$1.json"
}

winnow_version() { sed -n 's/^  "version": "\([^"]*\)".*/\1/p' "$root/package.json" 2>/dev/null; }

machine_name() {
  local processor card
  processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
  if [ "$device" = gpu ]; then
    card=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
    echo "${card:-a GPU}, $processor, $cores cores"
  else
    echo "$processor, $cores cores"
  fi
}

stage_report() {
  local name file
  {
    printf '# Winnow on %s\n\n' "$(machine_name)"
    printf 'Winnow %s, llama.cpp %s, mode %s, `%s`.\n\n' "$(winnow_version)" "$(cat "$work/release" 2>/dev/null)" "$mode" "$command_line"
    [ "$size" = tiny ] && printf 'A dry run on tiny shapes: no figure here means anything.\n\n'
    printf '| stage | status | seconds | reason |\n|---|---|---|---|\n'
    for name in ${all_stages% report}; do
      file=$out/$name.json
      [ -f "$file" ] || { printf '| %s | not run | | |\n' "$name"; continue; }
      sed -n '1s/.*"status":"\([a-z]*\)","seconds":\([0-9]*\),"reason":"\(.*\)","command":.*/\1 | \2 | \3/p' "$file" |
        sed "s/^/| $name | /; s/\$/ |/"
    done
    printf '\nfloor_ms is the least time of a step: max((weight_bytes + cell_bytes) / bandwidth, flops / peak) (floor.h).\n'
    for name in ${all_stages% report}; do
      [ -n "$(rows_of "$name")" ] || continue
      printf '\n## %s\n' "$name"
      rows_of "$name" | awk -f "$root/bench/gpu/tables.awk"
    done
  } >"$out/report.md.part" && mv "$out/report.md.part" "$out/report.md" || fail "the report cannot be written"
}
