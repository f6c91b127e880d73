# Address spaces of masters, segments of slaves, and which segment lies where in which space.

namespace eval standin {
    variable mapped {}   ;# path of the mapped segment -> {space slave offset range excluded}

    # --- what exists ---

    # Masters of a space: interface paths.
    proc masters_of {space} {
        set masters {}
        foreach path [all_pins interfaces] {
            set facts [interface_facts $path]
            if {[dict get $facts space] ne "" && "[file dirname $path]/[dict get $facts space]" eq $space} {
                lappend masters $path
            }
        }
        return $masters
    }

    proc address_spaces {} {
        set spaces {}
        foreach path [all_pins interfaces] {
            set space [dict get [interface_facts $path] space]
            if {$space ne ""} { lappend spaces [file dirname $path]/$space }
        }
        return [lsort -unique $spaces]
    }

    proc slave_segments {} {
        variable cells
        set paths {}
        foreach cell [dict keys $cells] {
            foreach name [dict keys [dict get [shape $cell] segments]] { lappend paths $cell/$name }
        }
        return $paths
    }

    # {interface base size usage} of a slave segment.
    proc segment_facts {path} {
        variable cells
        foreach cell [dict keys $cells] {
            if {[string match $cell/* $path]} {
                set name [string range $path [string length $cell]+1 end]
                if {[dict exists [shape $cell] segments $name]} { return [dict get [shape $cell] segments $name] }
            }
        }
        refuse "BD 5-254" "no slave segment '$path'"
    }

    # Slave segments that a master interface reaches, through any interconnect.
    proc reached {master} {
        set other [partner $master]
        if {$other eq ""} { return {} }
        lassign [split_path $other] cell name
        if {[dict exists $::standin::intf_ports $other]} { return {} }
        set facts [interface_facts $other]
        if {![dict get $facts through]} {
            set segments {}
            dict for {segment description} [dict get [shape $cell] segments] {
                if {[lindex $description 0] eq $name} { lappend segments $cell/$segment }
            }
            return $segments
        }
        set segments {}
        dict for {side side_facts} [dict get [shape $cell] interfaces] {
            if {[dict get $side_facts mode] eq "master"} { lappend segments {*}[reached $cell/$side] }
        }
        return $segments
    }

    # The master interface of `space` that reaches a slave segment; "" when none does.
    proc master_for {space slave} {
        foreach master [masters_of $space] { if {$slave in [reached $master]} { return $master } }
        return ""
    }

    proc mapped_segments {space} {
        variable mapped
        set paths {}
        dict for {path facts} $mapped { if {[lindex $facts 0] eq $space} { lappend paths $path } }
        return $paths
    }

    # --- rules ---

    proc hex {number} { return [format 0x%llX $number] }

    # Why a segment may not lie there; "" when it may.
    proc misplaced {space slave offset range} {
        set master [master_for $space $slave]
        if {$master eq ""} { return "address space '$space' does not reach '$slave'" }
        lassign [segment_facts $slave] - base size usage
        if {$range < 128 || ($range & ($range - 1)) != 0} {
            return "range [hex $range] of '$slave' is not a power of two of at least 128 bytes"
        }
        if {$offset % $range != 0} {
            return "offset [hex $offset] of '$slave' is not a multiple of its range [hex $range]"
        }
        if {$usage eq "memory" && ($offset < $base || $offset + $range > $base + $size)} {
            return "'$slave' decodes [hex $base]..[hex [expr {$base + $size - 1}]], not [hex $offset]..[hex [expr {$offset + $range - 1}]]"
        }
        if {$usage ne "memory" && $range > $size} {
            return "range [hex $range] is larger than the [hex $size] bytes of '$slave'"
        }
        set bits [dict get [interface_facts $master] address]
        if {$bits > 0 && $offset + $range > (1 << $bits)} {
            return "'$slave' at [hex $offset] is beyond the $bits address bits of '$master'"
        }
        lassign [split_path $master] cell name
        set all [dict get [shape $cell] apertures]
        set apertures [expr {[dict exists $all $name] ? [dict get $all $name] : ""}]
        foreach aperture $apertures {
            lassign $aperture low length
            if {$offset >= $low && $offset + $range <= $low + $length} { return "" }
        }
        if {$apertures ne ""} {
            set windows [lmap aperture $apertures { string cat [hex [lindex $aperture 0]] .. \
                [hex [expr {[lindex $aperture 0] + [lindex $aperture 1] - 1}]] }]
            return "[hex $offset]..[hex [expr {$offset + $range - 1}]] of '$slave' is outside the apertures of '$master': [join $windows {, }]"
        }
        return ""
    }

    proc overlapping {space offset range except} {
        variable mapped
        foreach path [mapped_segments $space] {
            lassign [dict get $mapped $path] - slave low length excluded
            if {$path ne $except && $offset < $low + $length && $low < $offset + $range} { return $path }
        }
        return ""
    }

    proc place {space slave offset range name} {
        variable mapped; variable validated
        if {[set why [misplaced $space $slave $offset $range]] ne ""} { refuse "BD 41-1804" $why }
        if {[set other [overlapping $space $offset $range $space/$name]] ne ""} {
            refuse "BD 41-1051" \
                "segment '$space/$name' at [hex $offset]..[hex [expr {$offset + $range - 1}]] overlaps '$other'"
        }
        dict set mapped $space/$name [list $space $slave $offset $range 0]
        set validated 0
        return $space/$name
    }

    proc segment_name {slave} {
        return SEG_[string map {/ _} [string trimleft [lindex [split $slave /] 1]_[file tail $slave] /]]
    }

    # The address that Vivado chooses: a memory's own, else the first free place of the first aperture.
    proc place_freely {space slave} {
        lassign [segment_facts $slave] - base size usage
        if {$usage eq "memory"} {
            if {[set why [misplaced $space $slave $base $size]] ne ""} {
                warn "BD 41-1743" "not assigned: $why"; return ""
            }
            return [place $space $slave $base $size [segment_name $slave]]
        }
        lassign [split_path [master_for $space $slave]] cell name
        set offset 0
        if {[dict exists [shape $cell] apertures $name]} {
            set offset [lindex [dict get [shape $cell] apertures $name] 0 0]
        }
        while {[overlapping $space $offset $size ""] ne ""} { incr offset $size }
        return [place $space $slave $offset $size [segment_name $slave]]
    }

    proc is_mapped {space slave} {
        variable mapped
        foreach path [mapped_segments $space] { if {[lindex [dict get $mapped $path] 1] eq $slave} { return 1 } }
        return 0
    }

    # --- commands ---

    proc command::get_bd_addr_spaces {given} {
        return [bd_search get_bd_addr_spaces bd_addr_space [address_spaces] $given]
    }
    proc command::get_bd_addr_segs {given} {
        return [bd_search get_bd_addr_segs bd_addr_seg [concat [slave_segments] [dict keys $::standin::mapped]] $given]
    }

    proc command::assign_bd_address {given} {
        need_design
        foreach name {-import_from_file -dict -boundary -external -base_high} {
            if {[flag $given $name]} { error "the stand-in does not know assign_bd_address $name" }
        }
        if {[flag $given -export_to_file]} {
            write_output [dict get $given -export_to_file] assign_bd_address 1
            return
        }
        set slaves {}
        foreach value [option $given objects] { lappend slaves {*}[need assign_bd_address bd_addr_seg $value] }
        if {[llength [option $given objects]] && ![llength $slaves]} { standin::refuse_empty assign_bd_address }
        set exact [expr {[flag $given -offset] || [flag $given -range]}]
        if {$exact && ![llength $slaves]} {
            refuse "BD 5-253" "assign_bd_address: -offset and -range need the segment that they are for"
        }
        set spaces [address_spaces]
        if {[flag $given -target_address_space]} {
            set spaces [need assign_bd_address bd_addr_space [dict get $given -target_address_space]]
        }
        set placed {}
        foreach space $spaces {
            set candidates [expr {[llength $slaves] ? $slaves : \
                [concat {*}[lmap master [masters_of $space] { reached $master }]]}]
            foreach slave [lsort -unique $candidates] {
                if {[master_for $space $slave] eq ""} {
                    if {[flag $given -target_address_space]} {
                        refuse "BD 41-1804" "address space '$space' does not reach '$slave'"
                    }
                    continue
                }
                if {[is_mapped $space $slave]} {
                    if {$exact && ![flag $given -force]} {
                        refuse "BD 41-1050" "'$slave' is mapped in '$space' already"
                    }
                    if {!$exact} continue
                }
                if {$exact} {
                    lassign [segment_facts $slave] - base size
                    set name [segment_name $slave]
                    set offset [expr {[flag $given -offset] ? [bytes [dict get $given -offset]] : $base}]
                    set range [expr {[flag $given -range] ? [bytes [dict get $given -range]] : $size}]
                    lappend placed [place $space $slave $offset $range $name]
                } elseif {[set path [place_freely $space $slave]] ne ""} {
                    lappend placed $path
                }
            }
        }
        if {[llength $slaves] && ![llength $placed] && $exact} {
            refuse "BD 41-1804" "no address space reaches '[join $slaves {, }]'"
        }
        return [give bd_addr_seg $placed]
    }

    proc command::create_bd_addr_seg {given} {
        need_design
        foreach word {parent_addr_space slave_segment} {
            if {![flag $given $word]} { refuse "BD 5-253" "create_bd_addr_seg: <$word> is required" }
        }
        set space [lindex [need create_bd_addr_seg bd_addr_space [dict get $given parent_addr_space]] 0]
        set slave [lindex [need create_bd_addr_seg bd_addr_seg [dict get $given slave_segment]] 0]
        return [one bd_addr_seg [place $space $slave [bytes [dict get $given -offset]] \
            [bytes [dict get $given -range]] [dict get $given name]]]
    }

    proc command::exclude_bd_addr_seg {given} {
        variable ::standin::mapped
        need_design
        if {![flag $given segment_to_exclude]} {
            refuse "BD 5-253" "exclude_bd_addr_seg: <segment_to_exclude> is required"
        }
        foreach path [need exclude_bd_addr_seg bd_addr_seg [dict get $given segment_to_exclude]] {
            if {[dict exists $mapped $path]} {
                dict set mapped $path [lreplace [dict get $mapped $path] 4 4 1]
                continue
            }
            lassign [segment_facts $path] - base size
            set spaces [expr {[flag $given -target_address_space] ? \
                [need exclude_bd_addr_seg bd_addr_space [dict get $given -target_address_space]] : [address_spaces]}]
            foreach space $spaces {
                if {[master_for $space $path] ne "" && ![is_mapped $space $path]} {
                    dict set mapped $space/[segment_name $path] [list $space $path $base $size 1]
                }
            }
        }
    }

    proc command::include_bd_addr_seg {given} {
        variable ::standin::mapped
        foreach path [need include_bd_addr_seg bd_addr_seg [option $given segment_to_include]] {
            if {![dict exists $mapped $path]} { refuse "BD 5-254" "'$path' is not a mapped segment" }
            dict set mapped $path [lreplace [dict get $mapped $path] 4 4 0]
        }
    }

    proc on_get::bd_addr_seg.path {name} { return $name }
    proc on_get::bd_addr_seg.name {name} { return [file tail $name] }
    proc on_get::bd_addr_space.path {name} { return $name }
    proc on_get::bd_addr_seg.offset {name} { return [::standin::segment_value $name 2 1] }
    proc on_get::bd_addr_seg.range {name} { return [::standin::segment_value $name 3 2] }
    proc on_get::bd_addr_seg.usage {name} { return [lindex [::standin::segment_facts $name] 3] }

    proc segment_value {path of_mapped of_slave} {
        variable mapped
        if {[dict exists $mapped $path]} { return [hex [lindex [dict get $mapped $path] $of_mapped]] }
        return [hex [lindex [segment_facts $path] $of_slave]]
    }

    proc on_set::bd_addr_seg.offset {name value} { ::standin::move_segment $name 2 $value; return $value }
    proc on_set::bd_addr_seg.range {name value} { ::standin::move_segment $name 3 $value; return $value }

    # Moved segments are checked when the design is validated: offset and range are set one after the other.
    proc move_segment {path index value} {
        variable mapped; variable validated
        if {![dict exists $mapped $path]} {
            refuse "BD 5-254" "'$path' is a slave's own segment: its place is not a property"
        }
        dict set mapped $path [lreplace [dict get $mapped $path] $index $index [bytes $value]]
        set validated 0
    }

    proc addresses_summary {} {
        variable mapped
        set items {}
        dict for {path facts} $mapped {
            lassign $facts space slave offset range excluded
            lappend items [list o path [list s $path] space [list s $space] slave [list s $slave] offset \
                [list n $offset] range [list n $range] excluded [list n $excluded]]
        }
        return [list a {*}$items]
    }
}
