variable "project" {
  type = string
}

variable "location" {
  type = string
}

variable "landed_topic" {
  description = "Id of the topic that manifests are announced on."
  type        = string
}

variable "manifests_prefix" {
  type = string
}

variable "raw_prefix" {
  type = string
}

variable "temporary_prefixes" {
  type = list(string)
}

variable "deletion_protection" {
  type = bool
}

variable "writers" {
  description = "Members that read and write all objects, by role."
  type        = map(string)
}

variable "submitters" {
  description = "Members that submit Dataflow jobs, whose files are staged in the lake, by role."
  type        = map(string)
}

variable "extractors" {
  description = "Members that write raw files, by role."
  type        = map(string)
}

variable "site_prefix" {
  description = "Folder of the pages for people."
  type        = string
}

variable "site_readers" {
  description = "Members that read the pages for people."
  type        = list(string)
}

variable "readers" {
  description = "Members that read raw files."
  type        = list(string)
}
