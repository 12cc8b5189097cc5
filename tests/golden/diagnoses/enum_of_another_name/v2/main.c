enum paint { RED, GREEN } c;
