enum state { IDLE, DEAD } state;
