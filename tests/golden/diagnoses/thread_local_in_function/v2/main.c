int next(void)
{
    static _Thread_local int count __asm__("own_name") = 1;

    return ++count;
}
