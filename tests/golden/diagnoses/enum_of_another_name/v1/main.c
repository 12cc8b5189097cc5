enum colour { RED, GREEN } c;
