static int hits;

int main(void)
{
    return hits;
}
