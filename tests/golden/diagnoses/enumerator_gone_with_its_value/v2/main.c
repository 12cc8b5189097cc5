enum state { IDLE } state;
