int host_log(const char *text);

int plugin_run(void)
{
    return host_log("run");
}
