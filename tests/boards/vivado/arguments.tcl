# Arguments of commands, read by the syntax lines of UG835 in facts/commands.tcl.

namespace eval standin {
    variable syntax       ;# syntax(command) = its line in UG835
    # the same, read: {options positionals}, options {-name {takes_value required}}, positionals {{name kind} ...}
    variable syntax_read

    # Declares one command by its line in UG835: `[-x <arg>]` option, `[-x]` flag, `-x <arg>` required, `<name>`,
    # `[<name>]`, `[<name>...]`.
    proc command {name line} { variable syntax; set syntax($name) $line }

    proc syntax_of {name} {
        variable syntax; variable syntax_read
        if {[info exists syntax_read($name)]} { return $syntax_read($name) }
        set line $syntax($name)
        set options [dict create -quiet {0 0} -verbose {0 0}]
        set positionals {}
        foreach {- optional required} [regexp -all -inline {\[([^\]]*)\]|(-\w+ <\w+>|<\w+>\.{0,3})} $line] {
            set text [expr {$optional ne "" ? $optional : $required}]
            set needed [expr {$optional eq ""}]
            if {[regexp {^(-\w+) <\w+>$} $text -> option]} {
                dict set options $option [list 1 $needed]
            } elseif {[regexp {^-\w+$} $text]} {
                dict set options $text {0 0}
            } elseif {[regexp {^<(\w+)>(\.\.\.)?$} $text -> word rest]} {
                lappend positionals [list $word [expr {$rest ne "" ? [expr {$needed ? "some" : "any"}] : \
                    [expr {$needed ? "one" : "maybe"}]}]]
            } else {
                error "syntax of $name: cannot read '$text'"
            }
        }
        return [set syntax_read($name) [list $options $positionals]]
    }

    # The arguments of one call as a dict: options by name (flags 1), positionals by name, lists for `<name>...`.
    proc parse {name words} {
        lassign [syntax_of $name] options positionals
        set given [dict create]
        set rest {}
        for {set i 0} {$i < [llength $words]} {incr i} {
            set word [lindex $words $i]
            # A copy: looking at the word as text would make text of it, and lose the objects in it.
            if {![regexp {^-[a-zA-Z]\w* $} "$word "]} { lappend rest $word; continue }
            set matches [dict keys $options ${word}*]
            if {[dict exists $options $word]} { set matches [list $word] }
            if {[llength $matches] == 0} { refuse "Common 17-170" "Unknown option '$word' of '$name'" }
            if {[llength $matches] > 1} { refuse "Common 17-170" "Option '$word' of '$name' is ambiguous: $matches" }
            set option [lindex $matches 0]
            if {[lindex [dict get $options $option] 0]} {
                if {[incr i] >= [llength $words]} { refuse "Common 17-157" "'$name': option '$option' needs a value" }
                dict set given $option [lindex $words $i]
            } else {
                dict set given $option 1
            }
        }
        dict for {option properties} $options {
            if {[lindex $properties 1] && ![dict exists $given $option]} {
                refuse "Common 17-163" "'$name': option '$option' is required"
            }
        }
        foreach positional $positionals {
            lassign $positional word kind
            if {$kind in {some any}} {
                if {$kind eq "some" && ![llength $rest]} { refuse "Common 17-163" "'$name': <$word> is required" }
                dict set given $word $rest
                set rest {}
            } elseif {[llength $rest]} {
                set rest [lassign $rest value]
                dict set given $word $value
            } elseif {$kind eq "one"} {
                refuse "Common 17-163" "'$name': <$word> is required"
            }
        }
        if {[llength $rest]} { refuse "Common 17-165" "'$name': too many positional arguments: $rest" }
        return $given
    }

    proc option {given name {default ""}} {
        if {[dict exists $given $name]} { return [dict get $given $name] }
        return $default
    }

    proc flag {given name} { return [dict exists $given $name] }

    # What Vivado does when the script calls `name`.
    proc call {name args} {
        variable suppressed; variable reports; variable used
        incr used($name)
        set given [parse $name $args]
        set handler ::standin::command::$name
        if {[llength [info commands $handler]]} {
            set words [list $handler $given]
        } elseif {[info exists reports($name)]} {
            set words [list standin::report $name $given]
        } else {
            error "the stand-in declares '$name' but does not implement it"
        }
        if {[catch { {*}$words } result details]} {
            if {[flag $given -quiet]} {
                lappend suppressed $result
                return ""
            }
            # Without the stand-in's own stack: the trail is the user's.
            return -code error -errorcode [dict get $details -errorcode] $result
        }
        return $result
    }
}
namespace eval standin::command {}
