# A stand-in for `vivado -mode batch -source SCRIPT`: knows the commands, properties and IP cells in facts/, refuses
# anything else.
#
# tclsh vivado.tcl ?-release 2022.2? ?-boards "zcu102 ..."? ?-summary FILE? ?-probe ...? -source SCRIPT ?-tclargs ARG
# ...?
#
# To teach it more: a command is a syntax line in facts/commands.tcl and a procedure standin::command::NAME that gets the
# arguments as a dict; an IP cell is an entry in facts/ip_*.tcl; a property is a word in facts/properties.tcl.
#
# The script runs in an interpreter of its own, so that it sees Tcl and Vivado's commands but none of the stand-in's.
# The exit
# status is 0 if Vivado would have reached the end, else 1, with the message on standard error. The summary is JSON.

namespace eval standin { variable home [file dirname [file normalize [info script]]] }
foreach part {messages arguments objects json project runs catalog repositories block_design nets verilog automation addresses \
    validate constraints packager} {
    source [file join $standin::home $part.tcl]
}
foreach part {commands parts properties ip_fabric ip_processors ip_card} { source [file join $standin::home facts $part.tcl] }

namespace eval standin {
    variable script ""
    variable release 2022.2
    variable installed ""
    variable summary ""
    variable tclargs {}

    proc options {words} {
        variable script; variable release; variable installed; variable summary; variable tclargs
        while {[llength $words]} {
            set words [lassign $words word]
            switch -- $word {
                -source { set words [lassign $words script] }
                -release { set words [lassign $words release] }
                -boards { set words [lassign $words installed] }
                -summary { set words [lassign $words summary] }
                -tclargs { set tclargs $words; set words {} }
                default { error "unknown option of the stand-in: $word" }
            }
        }
    }

    # An interpreter with Tcl and Vivado's commands. `names` limits it to those commands (constraint files).
    proc interpreter {names} {
        set path [interp create]
        foreach name $names {
            if {[string match *::* $name]} { $path eval [list namespace eval [namespace qualifiers $name] {}] }
            interp alias $path $name {} standin::call $name
        }
        return $path
    }

    proc main {words} {
        variable script; variable summary; variable tclargs; variable syntax; variable child
        options $words
        set child [interpreter [array names syntax]]
        $child hide source
        interp alias $child source {} standin::run_file
        interp alias $child exit {} standin::leave
        $child eval [list set argv $tclargs]
        $child eval [list set argc [llength $tclargs]]
        $child eval [list set argv0 vivado]
        set failed [catch { run_file $script } message details]
        if {$failed && [dict get $details -code] == 1 && [dict get $details -errorcode] eq "STANDIN EXIT"} {
            set failed [expr {$message != 0}]
            set message "the script called exit $message"
        }
        if {!$failed} { set failed [catch { at_end } message details] }
        if {!$failed && $summary ne ""} {
            set file [open $summary w]
            puts $file [summary_json]
            close $file
        }
        if {$failed} {
            puts stderr $message
            if {[dict exists $details -errorinfo]} {
                puts stderr "while executing:\n[trail [dict get $details -errorinfo]]"
            }
            exit 1
        }
    }

    # The places in the user's scripts that an error passed through.
    proc trail {info} {
        set places {}
        foreach line [split $info \n] {
            if {[regexp {\(file "(.*)" line (\d+)\)} $line -> file number]} { lappend places "  $file line $number" }
        }
        return [join $places \n]
    }

    proc run_file {args} {
        variable child
        set names [lsearch -all -inline -not -regexp $args {^-(notrace|quiet|verbose)$}]
        if {[llength $names] != 1} { refuse "Common 17-163" "source needs one file, got: $args" }
        set name [lindex $names 0]
        if {![file isfile $name]} { refuse "Common 17-1" "source: no such file: $name" }
        set before [$child eval {info script}]
        $child eval [list info script $name]
        set file [open $name]
        set text [read $file]
        close $file
        # `source` of the child itself gives file and line in the error's trail.
        set code [catch { $child invokehidden -global source $name } result details]
        $child eval [list info script $before]
        return -options $details $result
    }

    proc leave {{status 0}} { return -code error -errorcode {STANDIN EXIT} $status }
}

standin::main $argv
