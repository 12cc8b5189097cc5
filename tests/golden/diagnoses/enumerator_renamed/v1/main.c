enum state { IDLE, STATE_BUSY, DEAD } state;
