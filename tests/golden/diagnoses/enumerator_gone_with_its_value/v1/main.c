enum state { IDLE, BUSY } state;
