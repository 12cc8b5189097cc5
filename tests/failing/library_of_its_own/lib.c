int lib_state;
