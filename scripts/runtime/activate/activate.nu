# Activate this environment in nushell, without conda or pixi:   overlay use PREFIX/activate.nu
# Undo it: deactivate, which hides the overlay and with it every changed variable. The file is the same in every
# prefix. nushell sources only files that it can name while it reads a script, so each script of activate.d runs in
# a nushell of its own, and the variables that it set or removed are taken over.

const prefix = path self .

export-env {
    $env.CONDA_PREFIX = $prefix
    $env.CONDA_DEFAULT_ENV = ($prefix | path basename)
    let folders = if $nu.os-info.family == "windows" {
        ["" "Library/mingw-w64/bin" "Library/usr/bin" "Library/bin" "Scripts" "bin"]
    } else {
        ["bin"]
    }
    let folders = ($folders | each {|folder| $prefix | path join $folder })
    $env.PATH = ($folders | append ($env.PATH | where {|it| $it not-in $folders }))
    let strings = '$env | transpose name value | where {|it| ($it.value | describe) == "string"} | to json'
    let folder = ($prefix | path join "etc/conda/activate.d")
    let scripts = if ($folder | path exists) { ls $folder | get name | where {|name| $name ends-with ".nu" } | sort } else { [] }
    for script in $scripts {
        let before = (^$nu.current-exe --no-config-file --commands $strings | from json)
        let after = (^$nu.current-exe --no-config-file --commands $"source ($script | to json); ($strings)" | from json)
        for gone in ($before | where {|it| $it.name not-in $after.name }) {
            hide-env $gone.name
        }
        load-env ($after | where {|it| $it not-in $before } | reduce --fold {} {|it, found| $found | insert $it.name $it.value })
    }
}

export alias deactivate = overlay hide activate
