int table[8];
