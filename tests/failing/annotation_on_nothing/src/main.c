struct item {
    int size;
};

struct item item;

int main(void)
{
    return item.size;
}
