enum state { IDLE, BUSY, DEAD } state;
