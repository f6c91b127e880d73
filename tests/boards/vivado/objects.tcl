# First-class objects: what get_* commands return, and their properties.
#
# A Vivado object reads as its name but is not that string: `set_property strategy X impl_1` fails, with [get_runs impl_1]
# it works. The stand-in keeps the same rule. Every object is one Tcl value, kept here for the whole run, and known by its
# address; a string that merely reads the same is another value at another address.

namespace eval standin {
    variable handle     ;# handle(type,name) = the value given to scripts
    variable single     ;# single(type,name) = the list of that value alone
    variable identity   ;# identity(address) = {type name}
    variable values     ;# values(type,name) = dict of properties that were set
    variable properties ;# properties(type) = {NAME {default kind ...}}: facts/properties.tcl

    proc address_of {value} {
        if {![regexp {object pointer at (\S+?),} [::tcl::unsupported::representation $value] -> address]} {
            error "this Tcl does not tell where a value lies"
        }
        return $address
    }

    proc object {type name} {
        variable handle; variable identity
        if {![info exists handle($type,$name)]} {
            # A range of a longer text is a value of its own; anything simpler may be the script's literal again.
            set handle($type,$name) [string range "_$name" 1 end]
            set identity([address_of $handle($type,$name)]) [list $type $name]
        }
        return $handle($type,$name)
    }

    # A list that a get_* command returns. A list of one is kept as well: scripts may look at it as text in between.
    proc give {type names} {
        if {[llength $names] == 1} { return [one $type [lindex $names 0]] }
        return [lmap name $names { object $type $name }]
    }

    proc one {type name} {
        variable single; variable identity
        if {![info exists single($type,$name)]} {
            set single($type,$name) [list [object $type $name]]
            set identity([address_of $single($type,$name)]) [list $type $name]
        }
        return $single($type,$name)
    }

    # The objects in a value, as {type name} pairs. Paths of a block design, like "/ps", are unique: they serve as text.
    # `types` chooses between those of one path (a master interface and its address space).
    proc resolve {value {types ""}} {
        variable identity; variable handle
        set address [address_of $value]
        if {[info exists identity($address)]} { return [list $identity($address)] }
        set found {}
        foreach element $value {
            set address [address_of $element]
            if {[info exists identity($address)]} {
                lappend found $identity($address)
            } elseif {[llength $element] > 1 || [lindex $element 0] ne $element} {
                lappend found {*}[resolve $element $types]
            } elseif {[string index $element 0] eq "/" && [set type [type_at $element $types]] ne ""} {
                lappend found [list $type $element]
            } else {
                refuse "Common 17-58" "'$element' is not a valid first class Tcl object"
            }
        }
        return $found
    }

    # Names of the objects in `value`, all of one of `types`; at least one.
    proc need {command types value} {
        set names {}
        foreach pair [resolve $value $types] {
            lassign $pair type name
            if {$type ni $types} { refuse "Common 17-161" "'$command': '$name' is a $type, not a [join $types { or }]" }
            lappend names $name
        }
        if {![llength $names]} { refuse_empty $command }
        return $names
    }

    proc refuse_empty {command} {
        variable nothing_found
        set why [expr {$nothing_found eq "" ? "" : " ($nothing_found)"}]
        refuse "Common 17-55" "'$command' expects at least one object$why"
    }

    # Result of a search: warns when nothing was found, and remembers it for the error that follows.
    proc found {command type names patterns given} {
        variable nothing_found
        if {![llength $names]} {
            set nothing_found "$command found nothing for '[join $patterns { }]'"
            if {![flag $given -quiet]} { warn "Vivado 12-180" $nothing_found }
        }
        return [give $type $names]
    }

    # Names that match one of the patterns (glob, or -regexp), and the -filter. Without patterns all match.
    proc select {type names patterns given} {
        set chosen {}
        if {![llength $patterns]} { set patterns * }
        foreach pattern $patterns {
            if {![regexp {[*?\[\\]} $pattern] && ![flag $given -regexp]} {
                if {$pattern in $names && $pattern ni $chosen} { lappend chosen $pattern }
                continue
            }
            foreach name $names {
                set hit [expr {[flag $given -regexp] ? [regexp -- "^(?:$pattern)\$" $name] : [matches $pattern $name]}]
                if {$hit && $name ni $chosen} { lappend chosen $name }
            }
        }
        if {[option $given -filter] eq ""} { return $chosen }
        set kept {}
        foreach name $chosen { if {[passes [dict get $given -filter] $type $name]} { lappend kept $name } }
        return $kept
    }

    # Glob as Vivado's: brackets are bus indices unless they hold a choice.
    proc matches {pattern name} {
        return [expr {$pattern eq $name || [string match [string map {\[ \\\[ \] \\\]} $pattern] $name]}]
    }

    proc matches_any {patterns name} {
        foreach pattern $patterns { if {[matches $pattern $name]} { return 1 } }
        return 0
    }

    # A -filter: comparisons joined by && or ||.
    proc passes {filter type name} {
        set result ""
        set joined ""
        set term {(?:^|(&&|\|\|))\s*(\w[\w.]*)\s*(==|!=|=~|!~|eq|ne)\s*("[^"]*"|\{[^\}]*\}|[^\s&|]+)\s*}
        foreach {- joiner property operator wanted} [regexp -all -inline $term $filter] {
            append joined $joiner$property$operator$wanted
            set value [read_property $type $name $property]
            set wanted [string trim $wanted "\"{}"]
            switch -- $operator {
                == - eq { set hit [expr {[same_value $value $wanted]}] }
                != - ne { set hit [expr {![same_value $value $wanted]}] }
                =~ { set hit [matches $wanted $value] }
                !~ { set hit [expr {![matches $wanted $value]}] }
            }
            if {$joiner eq "&&"} { set result [expr {$result && $hit}]
            } elseif {$joiner eq "||"} { set result [expr {$result || $hit}]
            } else { set result $hit }
        }
        if {$joined eq "" || [string length [regsub -all {\s} $joined ""]] != [string length [regsub -all {\s} $filter ""]]} {
            refuse "Common 17-163" "cannot read the filter '$filter'"
        }
        return $result
    }

    proc same_value {left right} {
        set truth [dict create true 1 false 0]
        foreach side {left right} {
            set lower [string tolower [set $side]]
            if {[dict exists $truth $lower]} { set $side [dict get $truth $lower] }
        }
        return [string equal $left $right]
    }

    # --- properties ---

    # The rule of a property: {NAME default kind ...}. Names are not case sensitive, those of CONFIG are.
    proc rule_of {type name property} {
        variable properties
        if {$type in {bd_cell bd_pin bd_intf_pin bd_port bd_intf_port} && [string match CONFIG.* $property]} {
            return [list $property {*}[config_rule $type $name [string range $property 7 end]]]
        }
        foreach table [list $type any] {
            dict for {known rule} $properties($table) {
                if {[string equal -nocase $known $property]} { return [list $known {*}$rule] }
            }
        }
        refuse "Common 17-54" "The object '$name' of type '$type' does not have a property '$property'"
    }

    proc write_property {type name property value} {
        variable values
        set rule [lassign [rule_of $type $name $property] known default]
        check_value "property '$known' of $type '$name'" $value $rule
        if {[string match CONFIG.* $known]} {
            set_config $type $name [string range $known 7 end] $value
            return
        }
        set hook ::standin::on_set::$type.[string tolower $known]
        if {[llength [info commands $hook]]} { set value [$hook $name $value] }
        dict set values($type,$name) $known $value
    }

    proc read_property {type name property} {
        variable values
        lassign [rule_of $type $name $property] known default
        set hook ::standin::on_get::$type.[string tolower $known]
        if {[llength [info commands $hook]]} { return [$hook $name] }
        if {[string match CONFIG.* $known]} { return [get_config $type $name [string range $known 7 end]] }
        if {[info exists values($type,$name)] && [dict exists $values($type,$name) $known]} {
            return [dict get $values($type,$name) $known]
        }
        return $default
    }

    # Kinds of values: any, text, boolean, integer LOW HIGH, real LOW HIGH, enum A B ..., file, readonly.
    proc check_value {what value rule} {
        set limits [lassign $rule kind]
        set bad ""
        switch -- $kind {
            any {}
            text { if {$value eq ""} { set bad "a text" } }
            readonly { refuse "Common 17-356" "$what is read-only" }
            boolean { if {![string is boolean -strict $value]} { set bad "a boolean" } }
            integer {
                lassign $limits low high
                if {![string is entier -strict $value] || $value < $low || $value > $high} {
                    set bad "an integer in $low..$high"
                }
            }
            real {
                lassign $limits low high
                if {![string is double -strict $value] || $value < $low || $value > $high} {
                    set bad "a number in $low..$high"
                }
            }
            enum { if {$value ni $limits} { set bad "one of [join $limits {, }]" } }
            default { error "unknown kind of property: $kind" }
        }
        if {$bad ne ""} { refuse "IP_Flow 19-3461" "Value '$value' is out of range for $what: it must be $bad" }
    }

    proc command::set_property {given} {
        set pairs {}
        set words [option $given arguments]
        if {[flag $given -name] || [flag $given -value] || [flag $given -objects]} {
            foreach name {-name -value -objects} {
                if {![flag $given $name]} {
                    refuse "Common 17-163" "'set_property': option '$name' is required beside the others"
                }
            }
            set pairs [list [dict get $given -name] [dict get $given -value]]
            set words [list [dict get $given -objects]]
        } elseif {[flag $given -dict]} {
            set pairs [dict get $given -dict]
            if {[llength $pairs] % 2} {
                refuse "Common 17-165" "'set_property -dict': '[lindex $pairs end]' has no value"
            }
        } else {
            if {[llength $words] < 2} { refuse "Common 17-163" "'set_property' needs <name> <value> <objects>" }
            set words [lassign $words name value]
            set pairs [list $name $value]
        }
        set targets {}
        foreach word $words { lappend targets {*}[resolve $word] }
        if {![llength $targets]} { standin::refuse_empty set_property }
        foreach target $targets {
            foreach {name value} $pairs { write_property {*}$target $name $value }
        }
        foreach target $targets { after_set {*}$target }
    }

    proc command::get_property {given} {
        set targets [resolve [dict get $given object]]
        if {![llength $targets]} { standin::refuse_empty get_property }
        set found {}
        foreach target $targets { lappend found [read_property {*}$target [dict get $given name]] }
        return [expr {[llength $found] == 1 ? [lindex $found 0] : $found}]
    }

    proc command::report_property {given} { resolve [dict get $given object] }

    proc command::list_property {given} {
        variable ::standin::properties
        lassign [lindex [resolve [dict get $given object]] 0] type
        return [dict keys $properties($type)]
    }

    proc command::filter {given} {
        set kept {}
        foreach pair [resolve [dict get $given objects]] {
            if {[passes [dict get $given filter] {*}$pair]} { lappend kept [object {*}$pair] }
        }
        return $kept
    }
}
namespace eval standin::on_set {}
namespace eval standin::on_get {}
namespace eval standin::command { namespace path ::standin }
namespace eval standin::command::ipx { namespace path {::standin ::standin::command} }
