static int hits;

int other(void)
{
    return hits;
}
