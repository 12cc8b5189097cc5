int next(void)
{
    static _Thread_local int count = 1;

    return ++count;
}
