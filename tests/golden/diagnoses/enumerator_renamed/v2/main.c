enum state { IDLE, STATE_WORKING, DEAD } state;
