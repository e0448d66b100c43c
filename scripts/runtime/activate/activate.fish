# Activate this environment in fish, without conda or pixi:   source PREFIX/activate.fish
# Undo it: deactivate. The file is the same in every prefix.

functions -q prefect_env_deactivate; and prefect_env_deactivate

function _prefect_env_scripts # conda sorts by byte, fish does not
    set -l scripts $CONDA_PREFIX/etc/conda/$argv[1]/*.fish
    set -q scripts[1]; and printf '%s\n' $scripts | env LC_ALL=C sort
end

function prefect_env_deactivate -d 'Leave the environment that activate.fish made current'
    set -l scripts (_prefect_env_scripts deactivate.d)
    for script in $scripts[-1..1]
        source $script
    end
    for name in PATH CONDA_PREFIX CONDA_DEFAULT_ENV
        set -l old _prefect_env_old_$name
        if set -q $old
            set -gx $name $$old
            set -e $old
        else
            set -e $name
        end
    end
    functions -e _prefect_env_scripts prefect_env_deactivate deactivate
end

function deactivate
    test "$argv[1]" = nondestructive; or prefect_env_deactivate # what a venv's activate calls first
end

for name in PATH CONDA_PREFIX CONDA_DEFAULT_ENV
    set -q $name; and set -g _prefect_env_old_$name $$name
end
set -gx CONDA_PREFIX (builtin realpath -s (status dirname))
set -gx CONDA_DEFAULT_ENV (string replace -r '^.*/' '' $CONDA_PREFIX)
set -gx PATH $CONDA_PREFIX/bin $PATH
for script in (_prefect_env_scripts activate.d)
    source $script
end
