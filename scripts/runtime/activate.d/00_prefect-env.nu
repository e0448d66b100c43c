# Sets proxy, certificate and Prefect variables from the settings files; activate.d/00_prefect-env.sh has the contract.
const here = path self | path dirname
export-env {
  source-env ($here | path join ".." "deactivate.d" "00_prefect-env.nu")

  let windows = $nu.os-info.name == "windows"
  let prefix = $env.CONDA_PREFIX
  let cache = if ($env.PREFECT_ENV_CACHE? | is-not-empty) {
    $env.PREFECT_ENV_CACHE
  } else if $windows {
    $"($env.LOCALAPPDATA?)/prefect-env"
  } else if ($env.XDG_CACHE_HOME? | is-not-empty) {
    $"($env.XDG_CACHE_HOME)/prefect-env"
  } else {
    $"($env.HOME?)/.cache/prefect-env"
  }
  let below = if $windows { "/" + ($prefix | str replace --all ":" "") } else { $prefix }
  let python = ($prefix | path join ...(if $windows { ["python.exe"] } else { ["bin" "python"] }))
  let code = "import sys; sys.path.append(sys.argv.pop(2)); from prefect_env.state import main; main()"

  # nushell takes HTTP_PROXY and http_proxy for one variable: the name it knows it by
  let names = ($env | columns)
  def known [names: list<string>, name: string] {
    if not ($name | str ends-with "_proxy") { return $name }
    $names | where {|one| $one =~ ("(?i)^" + $name + "$") } | get --optional 0 | default $name
  }
  # one ls for all, since each takes milliseconds; without one of them there is no date
  def dates [paths: list<string>] {
    if ($paths | is-empty) or not ($paths | all {|path| $path | path exists }) { return [] }
    ls --directory ...($paths | each {|path| $path | path expand }) | get modified
  }
  def records [path: string] {
    open --raw $path | decode utf-8 | split row "\n" | where $it != "" | each {|line| $line | split row --number 3 " " }
  }

  mut state = $"($cache)/prefixes($below)/state.nu"
  mut rows = if ($state | path exists) { records $state } else { [] }
  let stamps = ($state | path dirname)
  let files = ($rows | where $it.0 == "file")
  let then = (dates ($files | each {|row| $stamps | path join $row.1 }))
  let fresh = ($rows | is-not-empty) and ($rows | all {|row|
    match $row.0 {
      "user" => {
        let now = ($env | get --optional (known $names $row.1))
        $row.2 == (if $now == null { "" } else { "+" + $now })
      }
      "none" => { not ($row.2 | path exists) }
      _ => true
    }
  }) and (($then | is-not-empty) and $then == (dates ($files | each {|row| $row.2 })))
  if not $fresh {
    $rows = if ($python | path exists) {
      let run = (do { ^$python -I -c $code nu ($here | path dirname) } | complete)
      if ($run.stderr | is-not-empty) { print --stderr --no-newline $run.stderr }
      if $run.exit_code == 0 { records ($run.stdout | str trim --right --char "\n") } else { [] }
    } else { [] }
  }
  for row in $rows {
    match $row.0 {
      "set" => { load-env {(known $names $row.1): $row.2} }
      "unset" => { hide-env (known $names $row.1) }
      "warn" => { print --stderr $"prefect-env: ($row.2)" }
      _ => {}
    }
  }
}
