extern int lib_state;

int main(void)
{
    return lib_state;
}
