static int sum;

int total(void);

int total(void)
{
    sum += 100;
    return sum;
}
