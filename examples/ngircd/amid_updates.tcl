# What upstream's scripts for expect are run with: what they wait for comes out as points in TAP, and
# before a line is sent, each server is updated once more. Their own patience is that of an idle machine.

set timeout 60
rename expect kt_expect
rename send kt_send

proc expect {args} {
    set found [uplevel 1 [list kt_expect {*}$args]]
    puts "\nok [incr ::kt_points]"
    return $found
}

proc send {args} {
    if {[info exists ::env(KITSUNE_RUNTIME_DIR)]} {
        kt_await_updates $::env(KITSUNE_RUNTIME_DIR)
    }
    uplevel 1 [list kt_send {*}$args]
}

# Servers are updated one after the other: one update is that of all of them once there are as many more.
proc kt_await_updates {directory} {
    set wanted [expr {[kt_updates $directory] + [llength [glob -nocomplain $directory/*.sock]]}]
    for {set tries 0} {[kt_updates $directory] < $wanted && $tries < 3000} {incr tries} {
        after 10
    }
}

proc kt_updates {directory} {
    if {[catch {open $directory/updates} file]} {
        return 0
    }
    set made [read $file]
    close $file
    return $made
}
