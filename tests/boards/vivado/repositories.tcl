# IP of the user's own: component.xml files (IP-XACT, UG1118) below the folders in ip_repo_paths.

namespace eval standin {
    variable user_ip {}  ;# VLNV -> {module source}

    # Reads every repository again, and holds each component against its Verilog.
    proc read_repositories {} {
        variable user_ip; variable project
        set user_ip {}
        set folders [concat [read_property project $project IP_REPO_PATHS] [read_property fileset sources_1 IP_REPO_PATHS]]
        foreach folder $folders {
            if {![file isdirectory $folder]} { refuse "IP_Flow 19-2248" "IP repository '$folder' does not exist" }
            set components {}
            foreach depth {. * */*} { lappend components {*}[glob -nocomplain -directory $folder $depth/component.xml] }
            if {![llength $components]} { refuse "IP_Flow 19-2207" "IP repository '$folder' has no component.xml" }
            foreach path $components { read_component $path }
        }
    }

    proc read_component {path} {
        variable user_ip
        set file [open $path]
        set text [read $file]
        close $file
        set vlnv {}
        foreach word {vendor library name version} {
            if {![regexp "<spirit:$word>(\[^<\]+)</spirit:$word>" $text -> value]} { refuse "IP_Flow 19-570" "'$path' has no $word" }
            lappend vlnv $value
        }
        if {![regexp {<spirit:modelName>([^<]+)<} $text -> module]} { refuse "IP_Flow 19-570" "'$path' names no module" }
        set source ""
        foreach {- name} [regexp -all -inline {<spirit:file>\s*<spirit:name>([^<]+\.s?v)<} $text] {
            set source [file normalize [file join [file dirname $path] $name]]
            if {![file isfile $source]} { refuse "IP_Flow 19-663" "'$path' refers to '$name', which does not exist" }
        }
        if {$source eq "" || $module ni [module_names $source]} { refuse "IP_Flow 19-663" "'$path': module '$module' is in none of its files" }
        dict set user_ip [join $vlnv :] [list $module $source]
        set declared [lmap {- name} [regexp -all -inline {<spirit:port>\s*<spirit:name>([^<]+)<} $text] { set name }]
        set real [lmap port [module_ports $module] { lindex $port 0 }]
        if {[lsort $declared] ne [lsort $real]} {
            refuse "IP_Flow 19-627" "'$path': its ports are not those of module '$module': [differences $declared $real]"
        }
        foreach {- name} [regexp -all -inline {<spirit:physicalPort>\s*<spirit:name>([^<]+)<} $text] {
            if {$name ni $declared} { refuse "IP_Flow 19-627" "'$path': an interface has port '$name', the component has not" }
        }
    }

    proc differences {left right} {
        set only {}
        foreach name $left { if {$name ni $right} { lappend only $name } }
        foreach name $right { if {$name ni $left} { lappend only $name } }
        return [join $only {, }]
    }

    proc command::update_ip_catalog {given} {
        need_project
        read_repositories
    }
}
