# JSON, as far as the summary needs it: values are tagged lists {s text}, {n number}, {a items}, {o key value ...}.

namespace eval standin {
    proc json {value} {
        lassign $value tag
        set items [lrange $value 1 end]
        switch -- $tag {
            s { return \"[string map {\\ \\\\ \" \\\" \n \\n \t \\t} [lindex $items 0]]\" }
            n { return [expr {[lindex $items 0]}] }
            a { return "\[[join [lmap item $items { json $item }] ", "]\]" }
            o {
                set pairs {}
                foreach {key item} $items { lappend pairs "[json [list s $key]]: [json $item]" }
                return "{[join $pairs ",\n "]}"
            }
            default { error "no JSON for '$value'" }
        }
    }

    proc json_texts {texts} { return [list a {*}[lmap text $texts { list s $text }]] }

    # What the run did: for tests to compare with the board's data.
    proc summary_json {} {
        variable warnings; variable suppressed; variable outputs; variable release
        return [json [list o \
            release [list s $release] project [project_summary] cells [cells_summary] nets [nets_summary] \
            clocks [clocks_summary] addresses [addresses_summary] runs [runs_summary] \
            constraints [constraints_summary] core [core_summary] used [used_summary] \
            outputs [list a {*}[lmap output $outputs {
                list o path [list s [lindex $output 0]] command [list s [lindex $output 1]]
            }]] \
            warnings [json_texts $warnings] suppressed [json_texts $suppressed]]]
    }

    # How often each command was called.
    proc used_summary {} {
        variable used
        set items {}
        foreach name [lsort [array names used]] { lappend items $name [list n $used($name)] }
        return [list o {*}$items]
    }
}
