# Puts back what activate.d/00_prefect-env.xsh changed; what the user changed meanwhile is left alone.


def __prefect_env_deactivate():
    env = __xonsh__.env
    values = env.detype()
    for name in [name for name in values if name.startswith("__PREFECT_ENV_SET_")]:
        key = name[len("__PREFECT_ENV_SET_") :]
        if values[name] == ("+" + values[key] if key in values else "-"):
            old = values.get("__PREFECT_ENV_OLD_" + key)
            if old:
                env[key] = old[1:]
            elif key in values:
                del env[key]
    for name in [name for name in values if name.startswith("__PREFECT_ENV")]:
        del env[name]


__prefect_env_deactivate()
del __prefect_env_deactivate
