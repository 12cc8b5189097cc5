int state;
