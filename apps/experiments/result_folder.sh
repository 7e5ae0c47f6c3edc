# For the commands beside it, to be sourced. begin_result OUT: $work, a folder beside OUT that becomes OUT when the command has
# done all; when it fails, what is there stays, and OUT is free for the next try. logged NAME COMMAND...: its messages go to
# $work/NAME.log, and are shown when it fails. trained NAME COMMAND...: the same of a run that learns, which counts when it ends
# where nothing more can be certified.

begin_result() {
  result=$1
  [[ ! -e $result ]] || { echo "$result is there already; name a new folder." >&2; exit 2; }
  mkdir -p "$(dirname "$result")"
  work=$(mktemp -d "$result.XXXXXX")
  chmod 755 "$work"
  trap end_result EXIT
}

end_result() {
  local code=$?
  ((code)) || mv "$work" "$result" || code=1
  ((code == 0)) || echo "$(basename "$0") ended early: $result was not made; logs and what is done are in $work." >&2
  exit "$code"
}

logged() {
  local log=$work/$1.log
  shift
  "$@" 2>>"$log" || {
    local code=$?
    cat "$log" >&2
    return "$code"
  }
}

trained() {
  local log=$work/$1.log code=0
  shift
  "$@" 2>>"$log" || code=$?
  ((code == 0 || code == 4)) || {
    cat "$log" >&2
    return "$code"
  }
}
