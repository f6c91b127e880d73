# apply_bd_automation: the rules of the processing systems.

namespace eval standin {
    proc command::apply_bd_automation {given} {
        variable ::standin::automation_rules; variable ::standin::cells
        need_design
        set rule [dict get $given -rule]
        if {![dict exists $automation_rules $rule]} { refuse "BD 5-247" "unknown rule of automation '$rule'" }
        lassign [dict get $automation_rules $rule] wanted keys
        set settings [option $given -config [option $given -dict]]
        foreach {key value} $settings {
            if {![dict exists $keys $key]} {
                refuse "BD 5-248" "rule '$rule' has no setting '$key', only: [dict keys $keys]"
            }
            set choices [dict get $keys $key]
            if {$choices ne "any" && $value ni $choices} {
                refuse "BD 5-248" "rule '$rule': '$key' must be one of $choices, not '$value'"
            }
        }
        foreach value [dict get $given objects] {
            foreach cell [need apply_bd_automation bd_cell $value] {
                set name [lindex [dict get $cells $cell] 1]
                if {$name ne $wanted} { refuse "BD 5-249" "rule '$rule' is for $wanted, but '$cell' is a $name" }
                if {[dict exists $settings apply_board_preset] && [dict get $settings apply_board_preset]} {
                    apply_preset $cell
                }
                if {[dict exists $settings make_external]} {
                    foreach interface [split [string map {, " "} [dict get $settings make_external]]] {
                        if {$interface eq ""} continue
                        if {![dict exists [shape $cell] interfaces $interface]} {
                            refuse "BD 5-250" "make_external: '$cell' has no interface '$interface'"
                        }
                        externalise $cell/$interface $interface
                    }
                }
            }
        }
    }

    # The preset sets every parameter of the processing system, so it must come before the script's own settings: those
    # would be lost.
    proc apply_preset {cell} {
        variable boards; variable config; variable shapes
        set board [board_of_project]
        if {$board eq ""} {
            refuse "BD 5-251" "apply_board_preset: the project has no board_part, so there is no preset for '$cell'"
        }
        if {[dict size $config($cell)]} {
            refuse "BD 5-252" \
                "apply_board_preset: '$cell' is configured already ([dict keys $config($cell)]), and the preset would overwrite that"
        }
        set config($cell) [dict get $boards $board -preset]
        unset -nocomplain shapes($cell)
    }
}
