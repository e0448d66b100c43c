# Puts back what activate.d/00_prefect-env.nu changed; what the user changed meanwhile is left alone.
export-env {
  let marks = ($env | columns | where {|name| $name | str starts-with "__PREFECT_ENV_SET_" })
  for mark in $marks {
    let mine = ($mark | str replace "__PREFECT_ENV_SET_" "")
    # nushell takes HTTP_PROXY and http_proxy for one variable: the name it knows it by
    let name = (
      $env | columns | where {|column| $column =~ ("(?i)^" + $mine + "$") } | get --optional 0 | default $mine
    )
    let now = ($env | get --optional $name)
    if ($env | get $mark) == (if $now == null { "-" } else { "+" + $now }) {
      let old = ($env | get --optional $"__PREFECT_ENV_OLD_($mine)")
      if $old != null {
        load-env {$name: ($old | str substring 1..)}
      } else if $now != null {
        hide-env $name
      }
    }
  }
  for name in ($env | columns | where {|name| $name | str starts-with "__PREFECT_ENV" }) { hide-env $name }
}
