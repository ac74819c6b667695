# Rows (flat JSON objects, one a line, as program.h writes them) -> Markdown: a table for each kind of row, that is for
# each list of keys, in the order in which the kinds first appear.
{
  line = substr($0, 2, length($0) - 2)
  count = split(line, fields, /,"/)
  keys = "|"
  cells = "|"
  for (i = 1; i <= count; i++) {
    sub(/^"/, "", fields[i])
    at = index(fields[i], "\":")
    value = substr(fields[i], at + 2)
    gsub(/^"|"$/, "", value)
    keys = keys " " substr(fields[i], 1, at - 1) " |"
    cells = cells " " value " |"
  }
  if (!(keys in kinds)) {
    kinds[keys] = ++kind
    heads[kind] = keys
    rules[kind] = count
  }
  tables[kinds[keys]] = tables[kinds[keys]] cells "\n"
}
END {
  for (k = 1; k <= kind; k++) {
    print ""
    print heads[k]
    rule = "|"
    for (i = 0; i < rules[k]; i++) rule = rule "---|"
    print rule
    printf "%s", tables[k]
  }
}
